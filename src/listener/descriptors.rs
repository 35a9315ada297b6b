//! How many connections the operating system has room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are kept for the database, files, the operations port and connections that are just ending.
const RESERVED: usize = 512;

/// Raises the limit on descriptors to what the operating system allows, and returns how many connections fit
/// beside everything else: at most `wanted`.
pub(super) fn room_for(wanted: usize) -> usize {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    let effective = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit on descriptors cannot be raised");
            limits.current
        }
    };
    let Some(descriptors) = effective.and_then(|limit| usize::try_from(limit).ok()) else {
        return wanted;
    };
    let room = beside_the_reserve(descriptors);
    if room < wanted {
        tracing::warn!(
            descriptors,
            wanted,
            max_connections = room,
            "fewer connections than IDENTITY_MAX_CONNECTIONS fit into the limit on descriptors"
        );
    }
    room.min(wanted)
}

/// Where there are few descriptors, connections get half of them.
const fn beside_the_reserve(descriptors: usize) -> usize {
    let half = descriptors / 2;
    let reserved = if half < RESERVED { half } else { RESERVED };
    descriptors.saturating_sub(reserved)
}

#[cfg(test)]
mod tests {
    use super::beside_the_reserve;

    #[test]
    fn connections_get_what_is_left_or_half() {
        assert_eq!(beside_the_reserve(20_000), 19_488);
        assert_eq!(beside_the_reserve(1024), 512);
        assert_eq!(beside_the_reserve(64), 32);
    }
}
