//! What people and programs see from outside.
