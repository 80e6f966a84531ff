//! What jobs are made of: packages, templates, images, and imports of others'.

pub mod images;
pub mod imports;
pub mod packages;
pub mod templates;
