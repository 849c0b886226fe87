//! Which file systems are shared between hosts: neither a database nor a spool may lie there.

/// The name of a network file system by its number, as statfs(2) gives it.
pub const fn network(kind: u64) -> Option<&'static str> {
    Some(match kind & 0xffff_ffff {
        0x6969 => "NFS",
        0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x00c3_6400 => "Ceph",
        0x0102_1997 => "9p",
        0x5346_414f => "AFS",
        _ => return None,
    })
}
