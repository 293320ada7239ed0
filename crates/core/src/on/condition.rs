//! A worker's machine gets hot, cools down, or changes what it runs on.

use metal9_types::{Moment, Power, SessionId, Thermal, WorkerId};

use crate::Ignored;
use crate::core::Core;
use crate::state::strain;

impl Core {
    pub(crate) fn on_condition(
        &mut self,
        now: Moment,
        id: WorkerId,
        session: SessionId,
        thermal: Option<Thermal>,
        power: Option<Power>,
    ) -> Result<(), Ignored> {
        let worker = self.current(id, session)?;
        worker.last_heard = now;
        if (worker.thermal, worker.power) == (thermal, power) {
            return Ok(());
        }
        let before = (worker.strain(false), worker.strain(true));
        let after = |gpu| strain(worker.offer.on_battery, thermal, power, gpu);
        let after = (after(false), after(true));
        if before == after {
            worker.set_condition(thermal, power);
            return Ok(());
        }
        self.change_worker(now, id, |worker| worker.set_condition(thermal, power));
        if after.1.is_some() {
            self.drop_device_reservations(id);
        }
        Ok(())
    }
}
