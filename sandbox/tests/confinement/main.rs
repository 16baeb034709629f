//! Real sandboxes, made as an unprivileged user: started as root, the test process becomes `nobody` first.

mod inside;
mod life;
mod limits;
mod setting;
