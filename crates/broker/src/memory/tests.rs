//! What only the topic in memory does.
