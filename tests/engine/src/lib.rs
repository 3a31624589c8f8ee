//! Scenarios of the container verbs: see `tests/`, a file per group of features.
