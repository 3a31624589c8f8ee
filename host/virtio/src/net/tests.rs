//! The interface between a guest that really drives its rings and a link that is two lists.

mod guest;

mod from_guest;
mod negotiation;
mod random;
mod to_guest;
