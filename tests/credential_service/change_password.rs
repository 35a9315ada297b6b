use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    Vec::new()
}
