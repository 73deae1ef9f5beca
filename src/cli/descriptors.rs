//! File descriptors: as many as the system lets this process have, and how many of them its clients may take.
//!
//! A shell or a service manager often begins with 1,024, and lets a program raise that. Whoever runs out of them cannot write its log either.

/// More sockets than this are of no use to anybody.
const SOCKETS_MAX: usize = 4_096;

/// What there is at least, if nobody tells.
const DESCRIPTORS: u64 = 1_024;

/// How many sockets clients may have open, known ones or not: half of the descriptors, of which the process takes all that it may.
pub(super) fn for_clients() -> usize {
    share(rlimit::increase_nofile_limit(rlimit::INFINITY).unwrap_or(DESCRIPTORS))
}

fn share(descriptors: u64) -> usize {
    usize::try_from(descriptors / 2).map_or(SOCKETS_MAX, |half| half.min(SOCKETS_MAX))
}

#[cfg(test)]
mod tests {
    use super::{SOCKETS_MAX, for_clients, share};

    #[test]
    fn clients_leave_half_of_the_descriptors() {
        assert_eq!([1_024, 1_048_576, u64::MAX].map(share), [512, SOCKETS_MAX, SOCKETS_MAX]);
        assert!(for_clients() > 0);
    }
}
