//! A job that is one HTTP request.

use serde::{Deserialize, Serialize};

use crate::call::{Call, CallTask, InvalidCall, Retry};
use crate::money::credits::Credits;
use crate::plan::{Block, Body, Plan};

/// An HTTP request, and how often it is made until it is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallWork {
    pub call: Call,
    pub retry: Retry,
}

impl CallWork {
    /// The plan of a run: one call, which costs this.
    ///
    /// # Errors
    /// The call cannot be made.
    pub fn plan(&self, price: Credits) -> Result<Plan, InvalidCall> {
        let (call, retry) = (self.call.clone(), self.retry.clone());
        let task = CallTask { call, retry, price, late: Vec::new() };
        task.check()?;
        let body = Body::Call(Box::new(task));
        Ok(Plan::new(vec![Block::new("call", body)])
            .expect("one block with a call that can be made is a plan"))
    }

    /// What a job is called that has no name: the method and the host.
    pub fn name(&self) -> String {
        format!("{} {}", self.call.method, self.call.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Method;

    #[test]
    fn call_work_compiles_to_one_call_and_reads_back() {
        let call = Call::new(Method::Post, "https://h.example/x");
        let work = CallWork { call, retry: Retry::default() };
        let price = Credits::from_units(7).unwrap();

        let plan = work.plan(price).unwrap();

        assert_eq!(plan.calls().map(|(_, task)| task.price).collect::<Vec<_>>(), [price]);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
        let text = serde_json::to_string(&work).unwrap();
        assert_eq!(serde_json::from_str::<CallWork>(&text).unwrap(), work);
        assert_eq!(work.name(), "POST h.example");
        let wrong = CallWork { call: Call::new(Method::Get, "nowhere"), ..work };
        assert_eq!(wrong.plan(price).err(), Some(InvalidCall::Url));
    }
}
