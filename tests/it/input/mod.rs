//! Bad input gets a clear error, the right code, and loses nothing.
