//! The topic on Kafka.
