//! Permits of one lane.
