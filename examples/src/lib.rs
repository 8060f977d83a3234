//! Programs that show one thing each; the first line of each says how to run it.
