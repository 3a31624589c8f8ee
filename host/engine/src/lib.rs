//! What the container verbs mean.
