//! The binary `tombola`.
fn main() {}
