//! Histories that found something, each with what it showed.
