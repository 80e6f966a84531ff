//! Where data lies, where it is cut, and what names it.

pub mod cache_name;
pub mod chunk_table;
pub mod location;
pub mod location_checks;
pub mod object_list;
pub mod pattern;
