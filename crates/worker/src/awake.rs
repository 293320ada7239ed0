//! Keeping the machine awake while jobs run, and only then.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What keeps a machine from going to sleep by itself. A person can still put it to sleep.
pub(crate) trait Inhibitor: Send + std::fmt::Debug {
    /// From now on it stays awake.
    fn hold(&mut self) -> io::Result<()>;

    /// From now on it may sleep.
    fn release(&mut self);
}

/// Calls follow each other closely; the machine is not let go between them.
const LINGER: Duration = Duration::from_secs(10);

/// Holds an inhibitor while there is work.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    /// Nothing where the machine sleeps when it wants to.
    inhibitor: Option<Box<dyn Inhibitor>>,
    held: bool,
    /// When there was work last.
    busy: Option<Instant>,
}

impl Keeper {
    pub(crate) fn new(inhibitor: Option<Box<dyn Inhibitor>>) -> Self {
        Self { inhibitor, ..Self::default() }
    }

    /// `true` while [`Keeper::look`] is to be called now and then, even without work.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Is told whether there is work.
    pub(crate) fn look(&mut self, now: Instant, busy: bool) {
        if busy {
            self.busy = Some(now);
        }
        let wanted = self.busy.is_some_and(|last| now.duration_since(last) < LINGER);
        let Some(inhibitor) = &mut self.inhibitor else { return };
        if wanted && !self.held {
            match inhibitor.hold() {
                Ok(()) => {
                    tracing::debug!("the machine is kept awake");
                    self.held = true;
                }
                Err(error) => {
                    tracing::warn!(%error, "the machine cannot be kept awake while jobs run");
                    // It will not be different a second later.
                    self.inhibitor = None;
                }
            }
        } else if self.held && !wanted {
            inhibitor.release();
            tracing::debug!("the machine may sleep");
            self.held = false;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let (true, Some(inhibitor)) = (self.held, &mut self.inhibitor) {
            inhibitor.release();
        }
    }
}

/// A program that keeps the machine awake as long as it runs. It ends with this process, however
/// that ends: its input is a pipe from here.
#[derive(Debug)]
pub(crate) struct Program {
    words: Vec<String>,
    child: Option<Child>,
}

impl Program {
    /// The program that does it on this system; nothing if there is none.
    pub(crate) fn of_this_system() -> Option<Self> {
        let words = words(std::env::consts::OS, std::process::id())?;
        let there = words[0].starts_with('/') && std::path::Path::new(&words[0]).exists();
        there.then_some(Self { words, child: None })
    }
}

/// What is run on a system, by the process `pid`.
fn words(system: &str, pid: u32) -> Option<Vec<String>> {
    let text = match system {
        // Against idle sleep, and on mains power against any that nobody has asked for.
        "macos" => format!("/usr/bin/caffeinate -i -s -w {pid}"),
        // `cat` ends with its input.
        "linux" => "/usr/bin/systemd-inhibit --what=idle:sleep --who=metal9 --why=jobs \
                    --mode=block cat"
            .to_owned(),
        _ => return None,
    };
    Some(text.split(' ').map(str::to_owned).collect())
}

impl Inhibitor for Program {
    fn hold(&mut self) -> io::Result<()> {
        let (program, arguments) =
            self.words.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn()?);
        Ok(())
    }

    fn release(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // One that has ended by itself is waited for all the same.
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, Default)]
    struct Fake {
        said: Arc<Mutex<Vec<&'static str>>>,
        fails: bool,
    }

    impl Inhibitor for Fake {
        fn hold(&mut self) -> io::Result<()> {
            self.said.lock().unwrap().push("hold");
            if self.fails { Err(io::Error::other("no")) } else { Ok(()) }
        }

        fn release(&mut self) {
            self.said.lock().unwrap().push("release");
        }
    }

    fn keeper(fails: bool) -> (Keeper, Arc<Mutex<Vec<&'static str>>>) {
        let said = Arc::default();
        let fake = Fake { said: Arc::clone(&said), fails };
        (Keeper::new(Some(Box::new(fake))), said)
    }

    #[test]
    fn the_machine_is_kept_awake_while_there_is_work_and_a_little_longer() {
        let (mut keeper, said) = keeper(false);
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        keeper.look(at(0), false);
        assert!(said.lock().unwrap().is_empty() && !keeper.is_held());
        keeper.look(at(1), true);
        keeper.look(at(2), true);
        keeper.look(at(5), false);
        keeper.look(at(8), true);
        keeper.look(at(17), false);
        assert_eq!(*said.lock().unwrap(), ["hold"], "two jobs in a row are one time");
        assert!(keeper.is_held());
        keeper.look(at(18), false);
        assert_eq!(*said.lock().unwrap(), ["hold", "release"]);
        keeper.look(at(60), true);
        drop(keeper);
        assert_eq!(*said.lock().unwrap(), ["hold", "release", "hold", "release"]);
    }

    #[test]
    fn what_is_refused_is_not_asked_for_again() {
        let (mut keeper, said) = keeper(true);
        let begin = Instant::now();
        keeper.look(begin, true);
        keeper.look(begin + Duration::from_secs(1), true);
        assert_eq!(*said.lock().unwrap(), ["hold"]);
        assert!(!keeper.is_held());
    }

    #[test]
    fn the_program_runs_as_long_as_it_is_held() {
        let mut program = Program { words: vec!["cat".into()], child: None };
        program.hold().unwrap();
        let pid = program.child.as_ref().unwrap().id();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, None).unwrap();
        program.release();
        assert!(nix::sys::signal::kill(pid, None).is_err());
        program.release();
    }

    #[test]
    fn each_system_has_its_program() {
        let text = |system| words(system, 7).map(|words| words.join(" "));
        assert_eq!(text("macos").as_deref(), Some("/usr/bin/caffeinate -i -s -w 7"));
        assert!(text("linux").unwrap().starts_with("/usr/bin/systemd-inhibit "));
        assert_eq!(text("plan9"), None);
    }
}
