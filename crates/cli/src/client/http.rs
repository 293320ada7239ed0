//! The gateway's HTTP routes.

use std::io::Read;
use std::time::Duration;

use anyhow::anyhow;
use metal9_tls::{Trust, blocking_agent};
use serde_json::Value;
use ureq::http::Response;
use ureq::typestate::WithBody;
use ureq::{Agent, RequestBuilder};

use crate::failure::Failure;

/// A gateway's HTTP side and the caller's token.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    agent: Agent,
    base: String,
    token: Option<String>,
}

impl Http {
    /// `base` is `http://host:port`, or `https://host:port` with how the gateway is known.
    ///
    /// # Errors
    ///
    /// If it is neither, or TLS cannot be set up.
    pub(crate) fn new(
        base: String,
        token: Option<String>,
        trust: Option<&Trust>,
    ) -> Result<Self, Failure> {
        let plain = base.starts_with("http://");
        if !plain && !base.starts_with("https://") {
            let error = anyhow!("`{base}` cannot be asked: expected http:// or https://");
            return Err(Failure::usage(error).hint("give the gateway's own address with --http"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // As for gRPC.
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .build();
        if plain {
            return Ok(Self { agent: config.into(), base, token });
        }
        let agent = blocking_agent(config, trust.unwrap_or(&Trust::System));
        let agent = agent.map_err(super::no_tls)?;
        Ok(Self { agent, base, token })
    }

    /// Gets JSON.
    ///
    /// # Errors
    ///
    /// If the gateway cannot be reached or refuses; the message does not say what was asked.
    pub(crate) fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.send(path)?)
    }

    /// Posts JSON and gets JSON.
    ///
    /// # Errors
    ///
    /// See [`Http::get`].
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send_json(self.agent.post(format!("{}{path}", self.base)), body)
    }

    /// Sets something.
    ///
    /// # Errors
    ///
    /// See [`Http::get`].
    pub(crate) fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send_json(self.agent.put(format!("{}{path}", self.base)), body)
    }

    fn send_json(
        &self,
        mut request: RequestBuilder<WithBody>,
        body: &Value,
    ) -> Result<Value, Failure> {
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request.send_json(body).map_err(|error| self.unreachable(error))?;
        self.json(self.check(answer)?)
    }

    /// Gets a body piece by piece, as it comes.
    ///
    /// # Errors
    ///
    /// See [`Http::get`].
    pub(crate) fn stream(&self, path: &str) -> Result<impl Read + use<>, Failure> {
        Ok(self.send(path)?.into_body().into_reader())
    }

    /// Deletes something and gets JSON.
    ///
    /// # Errors
    ///
    /// See [`Http::get`].
    pub(crate) fn delete(&self, path: &str) -> Result<Value, Failure> {
        let mut request = self.agent.delete(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request.call().map_err(|error| self.unreachable(error))?;
        self.json(self.check(answer)?)
    }

    fn send(&self, path: &str) -> Result<Response<ureq::Body>, Failure> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.check(request.call().map_err(|error| self.unreachable(error))?)
    }

    fn check(&self, mut answer: Response<ureq::Body>) -> Result<Response<ureq::Body>, Failure> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body: Option<Value> = answer.body_mut().read_json().ok();
        let message = body.as_ref().and_then(|body| body["message"].as_str());
        let failure = match message {
            Some(message) => Failure::request(anyhow!("{message}")),
            None => Failure::request(anyhow!("{} answered {status}", self.base)),
        };
        Err(if status == 401 { failure.hint(super::TOKEN_HINT) } else { failure })
    }

    fn json(&self, mut answer: Response<ureq::Body>) -> Result<Value, Failure> {
        answer.body_mut().read_json().map_err(|error| {
            Failure::request(anyhow!(error).context(format!("{} sent no JSON", self.base)))
        })
    }

    fn unreachable(&self, error: ureq::Error) -> Failure {
        super::unreachable(&self.base, error)
    }
}
