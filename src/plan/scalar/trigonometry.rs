//! Functions of angles.

use super::column::{Float, map2};
use super::math::floats;
use super::{Function, function};
use crate::error::{Error, Kind, Result};

/// The table.
pub(super) fn functions() -> Vec<Function> {
    const ONE: &str = "double precision -> double precision";
    vec![
        function("degrees", "radians as degrees", "degrees(0.5)", "28.64788975654116")
            .form(ONE, |call| floats(call, |value| Ok(value / (std::f64::consts::PI / 180.0)))),
        function("radians", "degrees as radians", "radians(45)", "0.7853981633974483")
            .form(ONE, |call| floats(call, |value| Ok(value * (std::f64::consts::PI / 180.0)))),
        function("sin", "the sine of an angle in radians", "sin(1)", "0.8414709848078965")
            .form(ONE, |call| floats(call, |value| finite(value).map(f64::sin))),
        function("cos", "the cosine", "cos(0)", "1").form(ONE, |call| floats(call, |value| finite(value).map(f64::cos))),
        function("tan", "the tangent", "tan(1)", "1.5574077246549023").form(ONE, |call| floats(call, |value| finite(value).map(f64::tan))),
        function("cot", "the cotangent", "cot(0.5)", "1.830487721712452")
            .form(ONE, |call| floats(call, |value| finite(value).map(|value| 1.0 / value.tan()))),
        function("asin", "the angle of a sine", "asin(1)", "1.5707963267948966")
            .form(ONE, |call| floats(call, |value| unit(value).map(f64::asin))),
        function("acos", "the angle of a cosine", "acos(1)", "0").form(ONE, |call| floats(call, |value| unit(value).map(f64::acos))),
        function("atan", "the angle of a tangent", "atan(1)", "0.7853981633974483")
            .form(ONE, |call| floats(call, |value| Ok(value.atan()))),
        function("atan2", "the angle of a tangent that is a quotient", "atan2(1, 2)", "0.4636476090008061")
            .form("double precision, double precision -> double precision", |call| map2::<Float, Float, _>(call, |y, x| Ok(y.atan2(x)))),
        function("sinh", "the hyperbolic sine", "sinh(0)", "0").form(ONE, |call| floats(call, |value| Ok(value.sinh()))),
        function("cosh", "the hyperbolic cosine", "cosh(0)", "1").form(ONE, |call| floats(call, |value| Ok(value.cosh()))),
        function("tanh", "the hyperbolic tangent", "tanh(1)", "0.7615941559557649")
            .form(ONE, |call| floats(call, |value| Ok(value.tanh()))),
        function("asinh", "the inverse of the hyperbolic sine", "asinh(0)", "0").form(ONE, |call| floats(call, |value| Ok(value.asinh()))),
        function("acosh", "the inverse of the hyperbolic cosine", "acosh(1)", "0")
            .form(ONE, |call| floats(call, |value| if value < 1.0 { Err(input()) } else { Ok(value.acosh()) })),
        function("atanh", "the inverse of the hyperbolic tangent", "atanh(0)", "0")
            .form(ONE, |call| floats(call, |value| unit(value).map(f64::atanh))),
    ]
}

pub(super) fn input() -> Error {
    Error::new(Kind::NumericOutOfRange, "input is out of range")
}

fn finite(value: f64) -> Result<f64> {
    if value.is_finite() { Ok(value) } else { Err(input()) }
}

/// A number from -1 to 1.
pub(super) fn unit(value: f64) -> Result<f64> {
    if (-1.0..=1.0).contains(&value) { Ok(value) } else { Err(input()) }
}
