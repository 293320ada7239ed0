//! Which service is meant.

use anyhow::{Context as _, anyhow};
use metal9_service::{Account, Manager, Place, Scope, Standing, plans};
use nix::unistd::{Uid, User};

use super::apply;
use crate::environment;
use crate::failure::Failure;

/// The service to install: the machine's for root, the user's own for anybody else. `named` is the
/// account that the machine's service is to run as.
///
/// # Errors
///
/// If there is no such account, or this user cannot choose one.
pub(super) fn fresh(named: Option<&str>) -> Result<Place, Failure> {
    let own = account_of(Uid::effective())?;
    if !Uid::effective().is_root() {
        if named.is_some_and(|named| named != own.name) {
            let error = anyhow!("only root can install a service for another account");
            return Err(Failure::usage(error).hint("run it with `sudo`"));
        }
        return Ok(place(Scope::User, own));
    }
    // Who has called `sudo` is whose worker it is, unless somebody says otherwise.
    let called = environment::read(environment::SUDO_USER);
    let account = match named.map(str::to_owned).or(called) {
        Some(name) => account(&name)?,
        None => own,
    };
    Ok(place(Scope::System, account))
}

/// The service that is installed, or that would be.
///
/// # Errors
///
/// If the system does not know this user.
pub(crate) fn existing() -> Result<Place, Failure> {
    let own = account_of(Uid::effective())?;
    let system = place(Scope::System, own.clone());
    if Uid::effective().is_root() {
        return Ok(system);
    }
    let user = place(Scope::User, own);
    // The machine's service can be looked at by everybody.
    Ok(if !user.file().exists() && system.file().exists() { system } else { user })
}

/// The service that is installed.
///
/// # Errors
///
/// If there is none.
pub(super) fn installed() -> Result<Place, Failure> {
    let place = existing()?;
    if place.file().exists() {
        return Ok(place);
    }
    let error = anyhow!("no {place} is installed: `{}` is not there", place.file().display());
    Err(Failure::request(error).hint("install it with `metal9 worker install`"))
}

/// How the service stands, by its service manager's word.
///
/// # Errors
///
/// If there is no service manager.
pub(crate) fn standing(place: &Place) -> Result<Standing, Failure> {
    let answer = apply::ask(&plans::query(place))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    Ok(Standing::read(place.manager, answer.status.success(), &text))
}

fn place(scope: Scope, account: Account) -> Place {
    Place { manager: Manager::of_this_system(), scope, account }
}

fn account(name: &str) -> Result<Account, Failure> {
    let user = User::from_name(name).context("cannot look for accounts").map_err(Failure::ours)?;
    let user = user.ok_or_else(|| Failure::usage(anyhow!("there is no account `{name}`")))?;
    Ok(Account { name: user.name, uid: user.uid.as_raw(), home: user.dir })
}

fn account_of(uid: Uid) -> Result<Account, Failure> {
    let user = User::from_uid(uid).context("cannot look for accounts").map_err(Failure::ours)?;
    let user = user.ok_or_else(|| Failure::ours(anyhow!("this user (id {uid}) has no name")))?;
    // What HOME says is where everything else of this user's was put.
    let home = match uid == Uid::current() {
        true => std::env::home_dir().unwrap_or(user.dir),
        false => user.dir,
    };
    Ok(Account { name: user.name, uid: uid.as_raw(), home })
}
