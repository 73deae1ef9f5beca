//! The windows of time that a row falls into: TUMBLE, HOP and CUMULATE.
//!
//! ```text
//! HOP, size 10, slide 5         [-5 ........ 5)
//!                                     [0 ........ 10)          time 3 is in two windows,
//!                                           [5 ........ 15)    time 7 in two others
//!
//! CUMULATE, size 12, step 4     [0 .. 4)
//!                               [0 ....... 8)                  time 5 is in two windows,
//!                               [0 ........... 12)             time 9 in one
//! ```
//!
//! Always: windows are half open, and begin at multiples of the slide (or, if they cumulate, of the size), counted from the offset.

/// Which windows there are. All in microseconds; slide, step and size are positive, the offset is less than what windows repeat by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeWindows {
    /// `[start, start + size)` for each multiple of the slide. TUMBLE if that is the size.
    Hop {
        /// Between the starts of two windows.
        slide_us: i64,
        /// How long a window is.
        size_us: i64,
        /// Where one of them starts.
        offset_us: i64,
    },
    /// `[start, start + step)`, `[start, start + 2 · step)` and so on up to `[start, start + size)`, for each multiple of the size.
    Cumulate {
        /// By how much each window is longer than the one before.
        step_us: i64,
        /// How long the longest is: a multiple of the step.
        size_us: i64,
        /// Where one of them starts.
        offset_us: i64,
    },
}

impl TimeWindows {
    /// HOP, and TUMBLE if the slide is the size.
    pub fn hop(slide_us: i64, size_us: i64, offset_us: i64) -> Self {
        TimeWindows::Hop { slide_us, size_us, offset_us: offset_us.rem_euclid(slide_us) }
    }

    /// CUMULATE, whose step divides the size.
    pub fn cumulate(step_us: i64, size_us: i64, offset_us: i64) -> Self {
        TimeWindows::Cumulate { step_us, size_us, offset_us: offset_us.rem_euclid(size_us) }
    }

    /// The start of the latest window that a time may be in.
    pub fn start(self, time_us: i64) -> i64 {
        match self {
            TimeWindows::Hop { slide_us: by, offset_us, .. } | TimeWindows::Cumulate { size_us: by, offset_us, .. } => {
                start_of(time_us, by, offset_us)
            }
        }
    }

    /// The windows that a time is in: of HOP the latest first, of CUMULATE the shortest.
    pub fn of(self, time_us: i64) -> WindowsOf {
        let start = self.start(time_us);
        match self {
            TimeWindows::Hop { slide_us, size_us, .. } => {
                let left = size_us.saturating_sub(time_us.saturating_sub(start)).max(0);
                let count = left.div_euclid(slide_us) + i64::from(left.rem_euclid(slide_us) > 0);
                WindowsOf { start, end: start.saturating_add(size_us), starts_by: -slide_us, ends_by: -slide_us, count }
            }
            TimeWindows::Cumulate { step_us, size_us, .. } => {
                let passed = time_us.saturating_sub(start).div_euclid(step_us);
                let end = start.saturating_add((passed + 1).saturating_mul(step_us));
                WindowsOf { start, end, starts_by: 0, ends_by: step_us, count: size_us.div_euclid(step_us) - passed }
            }
        }
    }

    /// Whether a time is in one window at the most.
    pub fn is_single(self) -> bool {
        match self {
            TimeWindows::Hop { slide_us, size_us, .. } => slide_us >= size_us,
            TimeWindows::Cumulate { step_us, size_us, .. } => step_us >= size_us,
        }
    }

    /// In how many windows a time is at the most.
    pub fn count_max(self) -> i64 {
        match self {
            TimeWindows::Hop { slide_us: by, size_us, .. } | TimeWindows::Cumulate { step_us: by, size_us, .. } => size_us / by,
        }
    }

    /// The longest stretches of time that no window divides, as windows of their own.
    pub fn slices(self) -> TimeWindows {
        let (slice_us, offset_us) = match self {
            TimeWindows::Hop { slide_us, size_us, offset_us } => (greatest_common_divisor(slide_us, size_us), offset_us),
            TimeWindows::Cumulate { step_us, offset_us, .. } => (step_us, offset_us),
        };
        TimeWindows::hop(slice_us, slice_us, offset_us)
    }

    /// Which of the two columns tells the windows of one row apart: 0 for the start, 1 for the end.
    pub fn key(self) -> usize {
        match self {
            TimeWindows::Hop { .. } => 0,
            TimeWindows::Cumulate { .. } => 1,
        }
    }
}

/// The start of the stretch of `size_us` that a time is in, where one starts at the offset, which is less than the size.
pub(super) fn start_of(time_us: i64, size_us: i64, offset_us: i64) -> i64 {
    let into = time_us.rem_euclid(size_us) - offset_us;
    time_us.saturating_sub(if into < 0 { into + size_us } else { into })
}

fn greatest_common_divisor(left: i64, right: i64) -> i64 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}

/// Start and end of each window that one time is in.
#[derive(Clone, Copy, Debug)]
pub struct WindowsOf {
    start: i64,
    end: i64,
    starts_by: i64,
    ends_by: i64,
    count: i64,
}

impl WindowsOf {
    /// No windows.
    pub const NONE: WindowsOf = WindowsOf { start: 0, end: 0, starts_by: 0, ends_by: 0, count: 0 };
}

impl Iterator for WindowsOf {
    type Item = (i64, i64);

    fn next(&mut self) -> Option<(i64, i64)> {
        self.count = self.count.checked_sub(1).filter(|left| *left >= 0)?;
        let window = (self.start, self.end);
        self.start = self.start.saturating_add(self.starts_by);
        self.end = self.end.saturating_add(self.ends_by);
        Some(window)
    }
}

#[cfg(test)]
mod tests {
    use super::{TimeWindows, greatest_common_divisor, start_of};

    fn of(windows: TimeWindows, time: i64) -> Vec<(i64, i64)> {
        windows.of(time).collect()
    }

    /// By the definition: all windows near by that hold the time.
    fn slowly(windows: TimeWindows, time: i64) -> Vec<(i64, i64)> {
        let all: Vec<(i64, i64)> = match windows {
            TimeWindows::Hop { slide_us, size_us, offset_us } => {
                (-60..60).rev().map(|k| (k * slide_us + offset_us, k * slide_us + offset_us + size_us)).collect()
            }
            TimeWindows::Cumulate { step_us, size_us, offset_us } => {
                let starts = (-60..60).map(|k| k * size_us + offset_us);
                starts.flat_map(|start| (1..=size_us / step_us).map(move |steps| (start, start + steps * step_us))).collect()
            }
        };
        all.into_iter().filter(|(start, end)| *start <= time && time < *end).collect()
    }

    #[test]
    fn windows_are_those_that_hold_the_time() {
        for time in -41..41 {
            for offset in [-7, -1, 0, 1, 3, 25] {
                for (slide, size) in [(10, 10), (5, 10), (4, 10), (3, 10), (10, 5), (7, 3), (1, 6)] {
                    let windows = TimeWindows::hop(slide, size, offset);
                    assert_eq!(of(windows, time), slowly(windows, time), "{windows:?} at {time}");
                }
                for (step, size) in [(4, 12), (5, 5), (1, 3), (3, 6)] {
                    let windows = TimeWindows::cumulate(step, size, offset);
                    assert_eq!(of(windows, time), slowly(windows, time), "{windows:?} at {time}");
                }
            }
        }
    }

    #[test]
    fn no_window_divides_a_slice() {
        assert_eq!(greatest_common_divisor(4_000_000, 10_000_000), 2_000_000);
        for windows in [TimeWindows::hop(4, 10, 3), TimeWindows::hop(3, 10, 1), TimeWindows::cumulate(4, 12, 5)] {
            for time in -30..30 {
                let (start, end) = windows.slices().of(time).next().unwrap();
                assert!((start..end).all(|other| of(windows, other) == of(windows, start)), "{windows:?} at {time}");
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_in_windows_too() {
        assert_eq!(start_of(i64::MIN, 10, 0), i64::MIN);
        assert_eq!(TimeWindows::hop(10, 10, 0).of(i64::MAX).count(), 1);
        assert_eq!(TimeWindows::cumulate(5, 10, 1).of(i64::MIN).next().map(|(start, _)| start), Some(i64::MIN));
    }
}
