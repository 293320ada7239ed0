//! The supervisor's loop.

use nix::errno::Errno;

use super::host::Woken;
use super::job::Job;
use super::receive::Control;
use crate::wire::{Reply, Request};

/// Most requests read at once.
const REQUESTS: usize = 16;

/// Serves the worker until the program has ended, or the worker wants it to or is gone.
pub(super) fn until_over(control: &Control, job: &mut Job, mut wait: impl FnMut() -> Woken) {
    loop {
        job.collect();
        if job.ended() {
            return;
        }
        if wait() == Woken::Other {
            #[cfg(not(target_os = "linux"))]
            job.tree.refresh();
            continue;
        }
        let mut buffer = [0; REQUESTS];
        let requests = control.receive_requests(&mut buffer);
        if requests.is_empty() {
            return;
        }
        for byte in requests {
            let answer = match Request::from_byte(*byte) {
                Some(Request::Mark) => job.mark().map(|()| 0),
                Some(Request::Reap) => job.reap(),
                Some(Request::Terminate) => job.terminate().map(|()| 0),
                Some(Request::Kill) => return,
                None => Err(Errno::EPROTO.into()),
            };
            let reply = match answer {
                Ok(count) => Reply::Done(i32::try_from(count).unwrap_or(i32::MAX)),
                Err(error) => Reply::Failed(error.raw_os_error().unwrap_or(libc::EIO)),
            };
            if control.send(reply).is_err() {
                return;
            }
        }
    }
}
