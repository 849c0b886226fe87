//! Archives of all kinds of strangers.
