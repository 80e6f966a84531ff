//! Against a registry in memory.
