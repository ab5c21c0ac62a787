//! Figures in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::figures::{Counted, FigureKey, FigureRows, add_level, add_row};
use super::Memory;
use performer_core::model::figures::{Figures, Resolution};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::result::Outcome;
use performer_core::model::selection::SelectionKey;
use performer_core::orchestrator::Result;

/// New and InProgress items, and when the oldest of those that come first was added.
type StoredLevel = (i64, i64, Option<Timestamp>);

/// The rows of figures.
#[derive(Default)]
pub(super) struct StoredFigures {
    ended: BTreeMap<FigureKey, Counted>,
    /// By queue, minutes and minute.
    levels: BTreeMap<(QueueId, i64, i64), StoredLevel>,
}

impl StoredFigures {
    pub(super) fn remove_queue(&mut self, queue: QueueId) {
        self.ended.retain(|key, _| key.queue != queue);
        self.levels.retain(|(of, ..), _| *of != queue);
    }
}

fn first_key(queue: QueueId, minutes: i64, at: i64) -> FigureKey {
    FigureKey { queue, minutes, at, outcome: Outcome::Successful, bucket: 0 }
}

impl FigureRows for Memory {
    fn add_figures(&mut self, counted: &BTreeMap<FigureKey, Counted>) -> Result<()> {
        for (key, counted) in counted {
            let row = self.figures.ended.entry(*key).or_default();
            row.count += counted.count;
            row.took += counted.took;
        }
        Ok(())
    }

    fn write_level(&mut self, queue: QueueId, minute: i64) -> Result<()> {
        let Some(stored) = self.queues.get(&queue) else { return Ok(()) };
        // The first of each rank: there are six, and may be a million items.
        let mut oldest: Option<Timestamp> = None;
        let mut next = stored.ready.first();
        while let Some(key) = next {
            let added = self.items.get(&key.id()).map(|item| item.state.creation_time);
            oldest = oldest.into_iter().chain(added).min();
            next = stored.ready.range(SelectionKey::in_turn(key.rank() + 1, i64::MIN, ItemId(0))..).next();
        }
        let level = (stored.statistics.new, stored.statistics.in_progress, oldest);
        for resolution in Resolution::ALL {
            let key = (queue, resolution.minutes(), resolution.start(minute));
            self.figures.levels.insert(key, level);
        }
        Ok(())
    }

    fn figures(&mut self, queue: QueueId, resolution: Resolution, minutes: (i64, i64)) -> Result<Figures> {
        let mut figures = Figures::default();
        let of = resolution.minutes();
        let rows = first_key(queue, of, minutes.0)..first_key(queue, of, minutes.1);
        for (key, counted) in self.figures.ended.range(rows) {
            add_row(&mut figures, *key, *counted);
        }
        let levels = (queue, of, minutes.0)..(queue, of, minutes.1);
        for ((_, _, at), (new, in_progress, oldest)) in self.figures.levels.range(levels) {
            add_level(&mut figures, queue, *at, (*new, *in_progress), *oldest);
        }
        Ok(figures)
    }

    fn remove_figures(&mut self, queue: QueueId, resolution: Resolution, before: i64) -> Result<()> {
        let of = resolution.minutes();
        self.figures.ended.retain(|key, _| (key.queue, key.minutes) != (queue, of) || key.at >= before);
        self.figures
            .levels
            .retain(|(queued, minutes, at), _| (*queued, *minutes) != (queue, of) || *at >= before);
        Ok(())
    }
}
