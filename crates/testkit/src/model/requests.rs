//! Request keys on the model: kept with the effect, under the same mutex.

use super::data::{Data, Kept};
use tombola_core::Timestamp;
use tombola_core::ports::{
    Actor, KeptAnswer, KeptRequest, Repeatable, RequestKey, StoreError, StoreResult,
};

type Place = (String, String, String);

fn place(request: &RequestKey) -> Place {
    (
        request.client.clone(),
        request.operation.clone(),
        request.key.clone(),
    )
}

impl Data {
    /// Has the effect, or answers as it did the first time.
    pub(super) fn once<T: Repeatable>(
        &mut self,
        by: &Actor,
        now: Timestamp,
        effect: impl FnOnce(&mut Self) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let Some(request) = &by.request else {
            return effect(self);
        };
        if let Some(it) = self.kept_requests.get(&place(request)) {
            if it.request.fingerprint != request.fingerprint {
                return Err(StoreError::KeyReused);
            }
            let json = it.effect.as_ref().ok_or(StoreError::KeyReused)?;
            return serde_json::from_str(json)
                .map_err(|error| StoreError::Inconsistent(error.to_string()));
        }
        let done = effect(self)?;
        if done.has_effect() {
            let effect = serde_json::to_string(&done)
                .map_err(|error| StoreError::Inconsistent(error.to_string()))?;
            self.keep(request, Some(effect), None, now);
        }
        Ok(done)
    }

    pub(super) fn kept_request(&self, request: &RequestKey) -> Option<KeptRequest> {
        self.kept_requests
            .get(&place(request))
            .map(|it| it.request.clone())
    }

    pub(super) fn keep_answer(
        &mut self,
        request: &RequestKey,
        answer: KeptAnswer,
        now: Timestamp,
    ) -> StoreResult<KeptAnswer> {
        let Some(it) = self.kept_requests.get_mut(&place(request)) else {
            self.keep(request, None, Some(answer.clone()), now);
            return Ok(answer);
        };
        if it.request.fingerprint != request.fingerprint {
            return Err(StoreError::KeyReused);
        }
        Ok(it.request.answer.get_or_insert(answer).clone())
    }

    /// Forgets what was answered about a user.
    pub(super) fn erase_answers(&mut self, user: &str) {
        for it in self.kept_requests.values_mut() {
            if let Some(answer) = &mut it.request.answer
                && answer.user.as_deref() == Some(user)
            {
                *answer = KeptAnswer::erased();
                it.effect = None;
            }
        }
    }

    fn keep(
        &mut self,
        request: &RequestKey,
        effect: Option<String>,
        answer: Option<KeptAnswer>,
        at: Timestamp,
    ) {
        let place = place(request);
        let request = KeptRequest {
            fingerprint: request.fingerprint,
            answer,
        };
        let kept = Kept {
            request,
            effect,
            at,
        };
        self.kept_requests.insert(place, kept);
    }
}
