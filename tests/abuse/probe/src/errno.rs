//! Names of errors and signals, as the table spells them.

macro_rules! names {
    ($number:expr, $($name:ident)*) => {
        match $number {
            $(n if n == libc::$name => stringify!($name).to_owned(),)*
            other => other.to_string(),
        }
    };
}

/// `EPERM` for 1; the number itself for one that has no name here.
pub(crate) fn name(number: i32) -> String {
    names!(number, EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT EBUSY EEXIST EXDEV ENODEV
        ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC EROFS EPIPE ENAMETOOLONG ENOSYS ENOTEMPTY ELOOP ENODATA
        EOPNOTSUPP EPROTONOSUPPORT ESOCKTNOSUPPORT EAFNOSUPPORT ENETUNREACH EHOSTUNREACH ECONNREFUSED ETIMEDOUT ENOKEY EDQUOT EUSERS)
}

/// `SIGKILL` for 9.
pub(crate) fn signal(number: i32) -> String {
    names!(number, SIGSYS SIGKILL SIGSEGV SIGBUS SIGABRT SIGILL SIGXFSZ SIGTERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_keeps_its_number() {
        assert_eq!((name(libc::EPERM), name(99_999)), ("EPERM".into(), "99999".into()));
        assert_eq!((signal(libc::SIGSYS), signal(64)), ("SIGSYS".into(), "64".into()));
    }
}
