//! The lines of the desk: the waiting requests of each campaign, in order of
//! arrival. Invariant: a line is in `ready` exactly when it has waiting requests and
//! no batch in flight, so beginning batches costs nothing for lines that wait.

use super::queue::Key;
use super::{Answer, DrawAsk, Place};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// A request in its line.
pub(super) struct Standing {
    pub(super) ask: DrawAsk,
    pub(super) answer: Answer,
    /// The monotonic reading at which it arrived.
    pub(super) since: Duration,
    /// Free again when it leaves the line.
    pub(super) _place: Place,
}

#[derive(Default)]
struct Line {
    standing: VecDeque<Standing>,
    has_batch: bool,
}

impl Line {
    /// Those in front, whose keys are added to `keys`.
    fn take(&mut self, draws_max: u32, keys: &mut HashSet<Key>) -> Vec<Standing> {
        let mut taken = Vec::with_capacity(self.standing.len().min(draws_max as usize));
        let (mut later, mut draws) = (Vec::new(), 0);
        // Those left for later are as many as a batch at most, however many wait.
        while later.len() < draws_max as usize
            && let Some(one) = self
                .standing
                .pop_front_if(|one| draws + one.ask.count <= draws_max)
        {
            if keys.insert((Arc::clone(&one.ask.client), Arc::clone(&one.ask.key))) {
                draws += one.ask.count;
                taken.push(one);
            } else {
                later.push(one);
            }
        }
        for one in later.into_iter().rev() {
            self.standing.push_front(one);
        }
        taken
    }
}

/// All lines.
pub(super) struct Lines {
    by_campaign: HashMap<Arc<str>, Line>,
    ready: VecDeque<Arc<str>>,
    campaigns_max: usize,
    standing_max: usize,
}

impl Lines {
    pub(super) fn new(campaigns_max: usize, standing_max: usize) -> Self {
        Self {
            by_campaign: HashMap::new(),
            ready: VecDeque::new(),
            campaigns_max,
            standing_max,
        }
    }

    /// Whether no campaign has a line.
    pub(super) fn is_empty(&self) -> bool {
        self.by_campaign.is_empty()
    }

    /// Puts a request at the end of its line, or gives it back if there is no room.
    pub(super) fn push(&mut self, one: Standing) -> Result<(), Box<Standing>> {
        if !self.by_campaign.contains_key(&one.ask.campaign) {
            if self.by_campaign.len() >= self.campaigns_max {
                return Err(Box::new(one));
            }
            self.by_campaign
                .insert(Arc::clone(&one.ask.campaign), Line::default());
        }
        let Some(line) = self.by_campaign.get_mut(&one.ask.campaign) else {
            return Err(Box::new(one));
        };
        if line.standing.len() >= self.standing_max {
            return Err(Box::new(one));
        }
        if line.standing.is_empty() && !line.has_batch {
            self.ready.push_back(Arc::clone(&one.ask.campaign));
        }
        line.standing.push_back(one);
        Ok(())
    }

    /// The campaign whose batch is next, and how many draws its first request asks.
    pub(super) fn next_ready(&self) -> Option<(&Arc<str>, u32)> {
        let campaign = self.ready.front()?;
        let first = self.by_campaign.get(campaign)?.standing.front()?;
        Some((campaign, first.ask.count))
    }

    /// Takes the next batch: at most `draws_max` draws, and no request key twice, since
    /// the second of two has to find what the first wrote. Its line is busy until
    /// `free`.
    pub(super) fn take_batch(&mut self, draws_max: u32) -> Option<(Arc<str>, Vec<Standing>)> {
        let campaign = self.ready.pop_front()?;
        let line = self.by_campaign.get_mut(&campaign)?;
        line.has_batch = true;
        let batch = line.take(draws_max, &mut HashSet::new());
        Some((campaign, batch))
    }

    /// Takes what joins the batch in flight of this line, which has those keys.
    pub(super) fn take_more(
        &mut self,
        campaign: &str,
        draws_max: u32,
        keys: &mut HashSet<Key>,
    ) -> Vec<Standing> {
        let line = self.by_campaign.get_mut(campaign);
        line.map(|line| line.take(draws_max, keys))
            .unwrap_or_default()
    }

    /// How many wait in this line.
    pub(super) fn standing(&self, campaign: &str) -> usize {
        let line = self.by_campaign.get(campaign);
        line.map_or(0, |line| line.standing.len())
    }

    /// The batch of this line ended.
    pub(super) fn free(&mut self, campaign: &Arc<str>) {
        if let Some(line) = self.by_campaign.get_mut(campaign) {
            line.has_batch = false;
            if line.standing.is_empty() {
                self.by_campaign.remove(campaign);
            } else {
                self.ready.push_back(Arc::clone(campaign));
            }
        }
    }

    /// Takes out those who have stood since before `oldest`.
    pub(super) fn take_expired(&mut self, oldest: Duration) -> Vec<Standing> {
        let mut expired = Vec::new();
        for line in self.by_campaign.values_mut() {
            while let Some(one) = line.standing.pop_front_if(|one| one.since < oldest) {
                expired.push(one);
            }
        }
        if !expired.is_empty() {
            self.by_campaign
                .retain(|_, line| line.has_batch || !line.standing.is_empty());
            let lines = &self.by_campaign;
            self.ready.retain(|campaign| lines.contains_key(campaign));
        }
        expired
    }

    /// Takes everybody out.
    pub(super) fn take_all(&mut self) -> Vec<Standing> {
        self.take_expired(Duration::MAX)
    }
}

#[cfg(test)]
pub(super) mod tests;
