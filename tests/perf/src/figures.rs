//! Samples, medians, ratios, and whether a goal is met.

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, shown as milliseconds.
    Seconds,
    /// Bytes a second, shown as MB/s.
    BytesPerSecond,
    /// Bytes, shown as MiB.
    Bytes,
}

/// What must be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// At most this many times the peer's figure.
    RatioAtMost(f64),
    /// At least this many times the peer's figure.
    RatioAtLeast(f64),
    /// At most this, in the figure's own unit; there is no peer.
    AtMost(f64),
}

/// The figures of one side, one for each round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Every figure, in the order of the rounds.
    #[must_use]
    pub fn all(&self) -> &[f64] {
        &self.0
    }

    /// The one in the middle; of an even number, the mean of the two in the middle.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(f64::midpoint(lower, upper))
    }
}

impl From<Vec<f64>> for Samples {
    fn from(figures: Vec<f64>) -> Self {
        Self(figures)
    }
}

/// Ours and the peer's figures of the same rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Ours.
    pub ours: Samples,
    /// The peer's; fewer where it failed on the way, none where there is no peer.
    pub peer: Samples,
    /// Why there is no peer's figure, or not all of them.
    pub peer_missing: Option<String>,
}

impl Pairs {
    /// The ratio of the medians.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        Some(self.ours.median()? / self.peer.median()?)
    }

    /// The lowest and highest ratio of a round.
    #[must_use]
    pub fn spread(&self) -> Option<(f64, f64)> {
        let rounds = self.ours.0.iter().zip(&self.peer.0);
        let ratios: Vec<f64> = rounds.map(|(ours, peer)| ours / peer).collect();
        let lowest = ratios.iter().copied().min_by(f64::total_cmp)?;
        let highest = ratios.iter().copied().max_by(f64::total_cmp)?;
        Some((lowest, highest))
    }

    /// Whether the goal is met; unknown without the figures it speaks of.
    #[must_use]
    pub fn meets(&self, goal: Goal) -> Option<bool> {
        Some(match goal {
            Goal::RatioAtMost(limit) => self.ratio()? <= limit,
            Goal::RatioAtLeast(limit) => self.ratio()? >= limit,
            Goal::AtMost(limit) => self.ours.median()? <= limit,
        })
    }
}

/// Takes `rounds` figures of each side, in turn, so that what slows the machine meets both.
///
/// A peer that fails is not asked again, and the reason is kept.
///
/// # Errors
/// Where ours fails.
pub fn alternate(
    rounds: usize,
    mut ours: impl FnMut() -> anyhow::Result<f64>,
    mut peer: impl FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<Pairs> {
    let mut pairs = Pairs::default();
    for _ in 0..rounds {
        pairs.ours.0.push(ours()?);
        if pairs.peer_missing.is_some() {
            continue;
        }
        match peer() {
            Ok(figure) => pairs.peer.0.push(figure),
            Err(error) => pairs.peer_missing = Some(format!("{error:#}")),
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(ours: &[f64], peer: &[f64]) -> Pairs {
        Pairs {
            ours: ours.to_vec().into(),
            peer: peer.to_vec().into(),
            peer_missing: None,
        }
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(Samples::from(vec![9.0, 1.0, 2.0]).median(), Some(2.0));
        assert_eq!(Samples::from(vec![4.0, 1.0, 2.0, 9.0]).median(), Some(3.0));
        assert_eq!(Samples::default().median(), None);
    }

    #[test]
    fn the_spread_is_of_ratios_within_a_round() {
        let pairs = pairs(&[1.0, 6.0], &[2.0, 3.0]);

        assert_eq!(pairs.spread(), Some((0.5, 2.0)));
        assert_eq!(pairs.ratio(), Some(3.5 / 2.5));
    }

    #[test]
    fn a_goal_looks_in_its_direction() {
        let pairs = pairs(&[4.0], &[2.0]);

        assert_eq!(pairs.meets(Goal::RatioAtMost(1.5)), Some(false));
        assert_eq!(pairs.meets(Goal::RatioAtLeast(1.5)), Some(true));
        assert_eq!(pairs.meets(Goal::AtMost(4.0)), Some(true));
    }

    #[test]
    fn a_goal_is_neither_met_nor_missed_without_its_peer() {
        let pairs = pairs(&[4.0], &[]);

        assert_eq!(pairs.meets(Goal::RatioAtMost(1.5)), None);
    }

    #[test]
    fn sides_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let told = |letter: char| {
            order.borrow_mut().push(letter);
            Ok(1.0)
        };

        alternate(2, || told('o'), || told('p')).expect("figures");

        assert_eq!(order.into_inner(), "opop");
    }

    #[test]
    fn a_peer_that_fails_is_not_asked_again_and_ours_goes_on() {
        let mut asked = 0;

        let pairs = alternate(
            3,
            || Ok(1.0),
            || {
                asked += 1;
                anyhow::bail!("not installed")
            },
        )
        .expect("ours works");

        assert_eq!(asked, 1);
        assert_eq!(pairs.ours.all().len(), 3);
        assert_eq!(pairs.peer_missing.as_deref(), Some("not installed"));
    }
}
