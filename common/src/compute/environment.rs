//! What fits into the variables of a container.

/// The most bytes of one variable with its name: the kernel takes 32 pages, its end included.
pub const VARIABLE_BYTES_MAX: usize = (128 << 10) - 1;
/// The most bytes of all variables: a quarter of the smallest usual stack.
pub const VARIABLES_BYTES_MAX: usize = 1 << 20;
/// The longest name of a variable that holds params.
const PARAMS_NAME: &str = "PARTITIONER_PARAMS=";
/// The most bytes of the params of one phase, as JSON.
pub const PARAMS_BYTES_MAX: usize = VARIABLE_BYTES_MAX - PARAMS_NAME.len();
