//! Where data is cut, and what names it.

pub mod cache_name;
pub mod chunk_table;
pub mod object_list;
pub mod pattern;
