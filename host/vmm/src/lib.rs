//! A virtual machine monitor on KVM for dhow's microVM.
