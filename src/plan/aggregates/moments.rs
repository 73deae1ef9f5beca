//! Variances, covariances, correlations and regressions: what sums of values, squares and products come to.

use crate::plan::node::Moment;

/// The sums of one group. A spread is the sum of products of distances from the means, times the number of rows.
#[derive(Clone, Copy, Debug)]
pub struct MomentTotals {
    /// How many; more than none.
    pub rows: f64,
    /// The first argument's sum.
    pub first: f64,
    /// Its distances' squares.
    pub first_spread: f64,
    /// The second argument's sum.
    pub second: f64,
    /// Its distances' squares.
    pub second_spread: f64,
    /// Both arguments' distances.
    pub spread: f64,
}

impl MomentTotals {
    /// NULL where there are too few rows, or where a line would be vertical.
    pub fn result(&self, moment: Moment) -> Option<f64> {
        let MomentTotals { rows, first, first_spread, second, second_spread, spread } = *self;
        let sample = |spread: f64| (rows > 1.0).then(|| spread / (rows * (rows - 1.0)));
        let population = |spread: f64| Some(spread / (rows * rows));
        // y is the first argument, x the second.
        let slope = || (rows > 1.0 && second_spread != 0.0).then(|| spread / second_spread);
        match moment {
            Moment::VariancePopulation => population(first_spread),
            Moment::VarianceSample => sample(first_spread),
            Moment::DeviationPopulation => population(first_spread).map(f64::sqrt),
            Moment::DeviationSample => sample(first_spread).map(f64::sqrt),
            Moment::CovariancePopulation => population(spread),
            Moment::CovarianceSample => sample(spread),
            Moment::Correlation => self.correlation(),
            Moment::Slope => slope(),
            Moment::Intercept => slope().map(|slope| (first - slope * second) / rows),
            Moment::Determination => slope().filter(|_| first_spread != 0.0).map(|_| spread / first_spread * (spread / second_spread)),
            Moment::MeanX => Some(second / rows),
            Moment::MeanY => Some(first / rows),
            Moment::SquaresX => Some(second_spread / rows),
            Moment::SquaresY => Some(first_spread / rows),
            Moment::Products => Some(spread / rows),
            Moment::Pairs => Some(rows),
        }
    }

    /// With DataFusion's rule for NaN: NaN if both sides have it, NULL if one has.
    fn correlation(&self) -> Option<f64> {
        match (self.first.is_nan(), self.second.is_nan()) {
            (true, true) => return Some(f64::NAN),
            (false, false) if self.rows > 1.0 => {}
            _ => return None,
        }
        let denominator = self.first_spread.sqrt() * self.second_spread.sqrt();
        (denominator != 0.0).then(|| self.spread / denominator)
    }
}

/// The moment that an aggregate function of this name computes.
pub(in crate::plan) fn moment(name: &str) -> Option<Moment> {
    Some(match name {
        "var_pop" => Moment::VariancePopulation,
        "var" => Moment::VarianceSample,
        "stddev_pop" => Moment::DeviationPopulation,
        "stddev" => Moment::DeviationSample,
        "covar_pop" => Moment::CovariancePopulation,
        "covar_samp" => Moment::CovarianceSample,
        "corr" => Moment::Correlation,
        "regr_slope" => Moment::Slope,
        "regr_intercept" => Moment::Intercept,
        "regr_count" => Moment::Pairs,
        "regr_r2" => Moment::Determination,
        "regr_avgx" => Moment::MeanX,
        "regr_avgy" => Moment::MeanY,
        "regr_sxx" => Moment::SquaresX,
        "regr_syy" => Moment::SquaresY,
        "regr_sxy" => Moment::Products,
        _ => return None,
    })
}
