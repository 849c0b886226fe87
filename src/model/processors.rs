//! On which processors a child comes up. A kernel that packs what runs onto few of them lets it wait behind the parent that
//! started it, while another one idles.

use rustix::process::{Pid, getppid};
use rustix::thread::{sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Keeps a child off the processor that we are on. It takes all of ours with [`as_parent`] before it starts anything itself.
pub fn keep_aside(child: u32) {
    let Some(child) = i32::try_from(child).ok().and_then(Pid::from_raw) else { return };
    let Ok(mut others) = sched_getaffinity(Some(child)) else { return };
    others.unset(sched_getcpu());
    if others.count() > 0 {
        // Where it may not be moved it comes up all the same.
        let _ = sched_setaffinity(Some(child), &others);
    }
}

/// From now on we run where the process may that started us.
pub fn as_parent() -> rustix::io::Result<()> {
    sched_setaffinity(None, &sched_getaffinity(getppid())?)
}
