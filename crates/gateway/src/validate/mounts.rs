//! The volumes and buckets of a stub.

use metal9_proto::beta9::gateway::Volume;
use metal9_types::{BucketMount, VolumeMount};
use metal9_volume::MountPath;

use super::{buckets, refuse, shown};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::shared::Shared;

/// Volumes and buckets of one stub.
const MAX_VOLUMES: usize = 32;

/// Checks the volumes that a stub asks for: they must be there, each at a place of its own. Those
/// with settings are buckets.
pub(crate) async fn mounts(
    shared: &Shared,
    caller: &Caller,
    wanted: Vec<Volume>,
) -> Result<(Vec<VolumeMount>, Vec<BucketMount>), ApiError> {
    let places = places(&wanted)?;
    check_overlaps(&places)?;
    let (mut mounts, mut found) = (Vec::with_capacity(wanted.len()), Vec::new());
    for volume in wanted {
        if let Some(config) = volume.config {
            found.push(buckets::bucket(config, volume.mount_path)?);
            continue;
        }
        let missing = || ApiError::NotFound { kind: "volume", id: shown(&volume.id) };
        let id = volume.id.parse().map_err(|_| missing())?;
        let row = shared.store.volume(caller.workspace, id).await?.ok_or_else(missing)?;
        mounts.push(VolumeMount { volume: id, name: row.name, mount_path: volume.mount_path });
    }
    Ok((mounts, found))
}

/// The secrets that have the keys of these buckets.
pub(crate) fn secrets(buckets: &[BucketMount]) -> impl Iterator<Item = String> {
    let keys = buckets.iter().filter_map(|bucket| bucket.keys.as_ref());
    keys.flat_map(|keys| [keys.access.clone(), keys.secret.clone()])
}

fn places(wanted: &[Volume]) -> Result<Vec<MountPath>, ApiError> {
    if wanted.len() > MAX_VOLUMES {
        let what = format!("{} volumes are more than the limit of {MAX_VOLUMES}", wanted.len());
        return Err(refuse(what, "put what belongs together into one volume"));
    }
    let place = |volume: &Volume| Ok(MountPath::parse(&volume.mount_path)?);
    wanted.iter().map(place).collect()
}

fn check_overlaps(places: &[MountPath]) -> Result<(), ApiError> {
    for (index, place) in places.iter().enumerate() {
        if places[..index].iter().any(|other| other.overlaps(place)) {
            let hint = "give each volume a mount_path that is not in another's";
            return Err(refuse("two volumes are to be mounted at one place", hint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Volume {
        Volume { id: String::new(), mount_path: path.to_owned(), config: None }
    }

    #[test]
    fn volumes_have_places_of_their_own() {
        let check = |wanted: &[Volume]| places(wanted).and_then(|places| check_overlaps(&places));
        assert!(check(&[at("a"), at("b"), at("/models")]).is_ok());
        assert!(check(&[at("./a"), at("/mnt/code/a/b")]).is_err());
        assert!(check(&[at("../a")]).is_err());
        assert!(check(&vec![at("a"); MAX_VOLUMES + 1]).is_err());
    }
}
