//! Namespaces, cgroup and root file system of one container.
