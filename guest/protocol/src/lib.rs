//! The contract between dhow's host side and its guest agent.
