//! Saying why a request waits.

use metal9_core::Explanation;
use metal9_store::TaskRow;

use super::book::Wait;
use crate::error::ApiError;
use crate::shared::Shared;

/// Why a request waits; nothing for what is no request, or does not wait.
///
/// # Errors
/// If the gateway is stopping.
pub(crate) async fn explain(
    shared: &Shared,
    row: &TaskRow,
) -> Result<Option<Explanation>, ApiError> {
    let Some(wait) = shared.endpoints.wait(row.stub, row.id) else { return Ok(None) };
    // The scheduler knows the containers that are to come, not the requests they are for.
    let next = wait.asked.first().or_else(|| wait.starting.first()).copied();
    let container = match next {
        Some(hold) => shared.driver.query(move |core, now| core.explain(now, hold)).await?,
        None => None,
    };
    Ok(Some(tell(&wait, container)))
}

/// `container` is what the scheduler says of the next container.
fn tell(wait: &Wait, container: Option<Explanation>) -> Explanation {
    let ahead = match wait.ahead {
        0 => "it is next".to_owned(),
        1 => "1 request is ahead of it".to_owned(),
        many => format!("{many} requests are ahead of it"),
    };
    let sentence = match (wait.serving, wait.starting.len(), &container) {
        (1, _, _) => {
            format!("waiting: its container has all the requests that it takes at a time; {ahead}")
        }
        (2.., _, _) => format!(
            "waiting: its {} containers have all the requests that they take at a time; {ahead}",
            wait.serving
        ),
        (0, 1.., _) => format!("waiting: its container is starting; {ahead}"),
        (0, 0, Some(container)) => container.sentence.clone(),
        (0, 0, None) => format!("waiting: for a container; {ahead}"),
    };
    let mut detail = vec![ahead];
    if let Some(container) = container {
        detail.push(format!("the next container: {}", container.sentence));
        detail.extend(container.detail);
    }
    Explanation { sentence, detail }
}

#[cfg(test)]
mod tests {
    use metal9_types::TaskId;
    use uuid::Uuid;

    use super::*;

    fn said(ahead: usize, serving: usize, starting: usize, asked: usize) -> String {
        let holds = |count| vec![TaskId(Uuid::nil()); count];
        let wait = Wait { ahead, serving, starting: holds(starting), asked: holds(asked) };
        let container = (asked > 0).then(|| Explanation {
            sentence: "waiting: no worker is connected".into(),
            detail: vec!["0 workers looked at".into()],
        });
        tell(&wait, container).sentence
    }

    #[test]
    fn a_request_waits_for_its_turn_or_for_a_container() {
        let busy = "waiting: its container has all the requests that it takes at a time";
        assert_eq!(said(0, 1, 0, 0), format!("{busy}; it is next"));
        assert_eq!(said(2, 1, 0, 1), format!("{busy}; 2 requests are ahead of it"));
        assert_eq!(
            said(1, 3, 0, 0),
            "waiting: its 3 containers have all the requests that they take at a time; 1 request \
             is ahead of it"
        );
        assert_eq!(said(0, 0, 1, 0), "waiting: its container is starting; it is next");
        assert_eq!(said(1, 0, 0, 1), "waiting: no worker is connected");
    }
}
