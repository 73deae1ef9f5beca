//! Functions of angles in degrees: exact where the angle is one that everybody knows, after PostgreSQL's `float.c`.

use super::column::{Float, map2};
use super::math::floats;
use super::trigonometry::{input, unit};
use super::{Function, function};
use crate::error::Result;

const PER_DEGREE: f64 = std::f64::consts::PI / 180.0;

/// The table.
pub(super) fn functions() -> Vec<Function> {
    const ONE: &str = "double precision -> double precision";
    vec![
        function("sind", "the sine of an angle in degrees", "sind(30)", "0.5").form(ONE, |call| floats(call, |angle| turned(angle, sine))),
        function("cosd", "the cosine of an angle in degrees", "cosd(60)", "0.5")
            .form(ONE, |call| floats(call, |angle| turned(angle, cosine))),
        function("tand", "the tangent of an angle in degrees", "tand(45)", "1")
            .form(ONE, |call| floats(call, |angle| turned(angle, tangent))),
        function("cotd", "the cotangent of an angle in degrees", "cotd(45)", "1")
            .form(ONE, |call| floats(call, |angle| turned(angle, cotangent))),
        function("asind", "the angle of a sine, in degrees", "asind(0.5)", "30")
            .form(ONE, |call| floats(call, |value| unit(value).map(arc_sine))),
        function("acosd", "the angle of a cosine, in degrees", "acosd(0.5)", "60")
            .form(ONE, |call| floats(call, |value| unit(value).map(arc_cosine))),
        function("atand", "the angle of a tangent, in degrees", "atand(1)", "45")
            .form(ONE, |call| floats(call, |value| Ok(value.atan() / 1.0_f64.atan() * 45.0))),
        function("atan2d", "the angle of a tangent that is a quotient, in degrees", "atan2d(1, 0)", "90")
            .form("double precision, double precision -> double precision", |call| {
                map2::<Float, Float, _>(call, |y, x| Ok(y.atan2(x) / 1.0_f64.atan() * 45.0))
            }),
    ]
}

/// A function of an angle within a full turn, with its sign.
fn turned(angle: f64, function: fn(f64) -> f64) -> Result<f64> {
    if angle.is_infinite() {
        return Err(input());
    }
    // PostgreSQL has no negative zero here either.
    Ok(function(angle % 360.0) + 0.0)
}

fn sine(angle: f64) -> f64 {
    let (angle, sign) = if angle < 0.0 { (-angle, -1.0) } else { (angle, 1.0) };
    let (angle, sign) = if angle > 180.0 { (360.0 - angle, -sign) } else { (angle, sign) };
    sign * acute_sine(if angle > 90.0 { 180.0 - angle } else { angle })
}

fn cosine(angle: f64) -> f64 {
    let angle = angle.abs();
    let angle = if angle > 180.0 { 360.0 - angle } else { angle };
    if angle > 90.0 { -acute_cosine(180.0 - angle) } else { acute_cosine(angle) }
}

fn tangent(angle: f64) -> f64 {
    let (angle, sign) = to_acute(angle);
    sign * (acute_sine(angle) / acute_cosine(angle) / (acute_sine(45.0) / acute_cosine(45.0)))
}

fn cotangent(angle: f64) -> f64 {
    let (angle, sign) = to_acute(angle);
    sign * (acute_cosine(angle) / acute_sine(angle) / (acute_cosine(45.0) / acute_sine(45.0)))
}

/// The angle from 0 to 90 that has the same tangent but for the sign.
fn to_acute(angle: f64) -> (f64, f64) {
    let (angle, sign) = if angle < 0.0 { (-angle, -1.0) } else { (angle, 1.0) };
    let (angle, sign) = if angle > 180.0 { (360.0 - angle, -sign) } else { (angle, sign) };
    if angle > 90.0 { (180.0 - angle, -sign) } else { (angle, sign) }
}

/// Of an angle from 0 to 90.
fn acute_sine(angle: f64) -> f64 {
    if angle <= 30.0 { small_sine(angle) } else { small_cosine(90.0 - angle) }
}

/// Of an angle from 0 to 90.
fn acute_cosine(angle: f64) -> f64 {
    if angle <= 60.0 { small_cosine(angle) } else { small_sine(90.0 - angle) }
}

/// Of an angle from 0 to 30, exact at both ends.
fn small_sine(angle: f64) -> f64 {
    (angle * PER_DEGREE).sin() / (30.0 * PER_DEGREE).sin() / 2.0
}

/// Of an angle from 0 to 60, exact at both ends.
fn small_cosine(angle: f64) -> f64 {
    1.0 - (1.0 - (angle * PER_DEGREE).cos()) / (1.0 - (60.0 * PER_DEGREE).cos()) / 2.0
}

fn arc_sine(value: f64) -> f64 {
    if value < 0.0 { -acute_arc_sine(-value) } else { acute_arc_sine(value) }
}

fn arc_cosine(value: f64) -> f64 {
    if value < 0.0 { 90.0 + acute_arc_sine(-value) } else { 90.0 - acute_arc_sine(value) }
}

/// Of a value from 0 to 1.
fn acute_arc_sine(value: f64) -> f64 {
    if value <= 0.5 { value.asin() / 0.5_f64.asin() * 30.0 } else { 90.0 - value.acos() / 0.5_f64.acos() * 60.0 }
}
