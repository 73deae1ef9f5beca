//! Errors and notices as messages: severity, SQLSTATE, message, detail, hint, position.

use pgwire::messages::response::{ErrorResponse, NoticeResponse};

use crate::engine::Notice;
use crate::error::{Error, Kind};

/// The message of an error: `ERROR`, or `FATAL` if the connection ends with it.
pub(super) fn error_response(error: &Error, fatal: bool) -> ErrorResponse {
    ErrorResponse::new(fields(if fatal { "FATAL" } else { "ERROR" }, error.kind().sqlstate(), error))
}

/// The message of a notice. It carries a code of its own where PostgreSQL gives it one: for what is there already, for a name that was cut, and
/// for a transaction that has begun or ended already. The others carry `00000`, successful completion, or `01000`, a warning.
pub(super) fn notice_response(notice: &Notice) -> NoticeResponse {
    let code = match notice.error.kind() {
        kind @ (Kind::NameTooLong
        | Kind::DuplicateTable
        | Kind::DuplicateSchema
        | Kind::DuplicateColumn
        | Kind::ActiveTransaction
        | Kind::NoActiveTransaction) => kind.sqlstate(),
        _ if notice.severity == "WARNING" => "01000",
        _ => "00000",
    };
    NoticeResponse::new(fields(notice.severity, code, &notice.error))
}

fn fields(severity: &str, code: &str, error: &Error) -> Vec<(u8, String)> {
    // V is what S says, but never translated: some drivers read only that.
    let mut fields =
        vec![(b'S', severity.to_owned()), (b'V', severity.to_owned()), (b'C', code.to_owned()), (b'M', clean(error.message()))];
    fields.extend(error.detail_text().map(|detail| (b'D', clean(detail))));
    fields.extend(error.hint_text().map(|hint| (b'H', clean(hint))));
    fields.extend(error.position().map(|position| (b'P', position.to_string())));
    fields
}

/// A zero byte, which a value from a message queue may hold, would end the text early and shift all that follows.
fn clean(text: &str) -> String {
    text.replace('\0', "\\0")
}

#[cfg(test)]
mod tests {
    use super::error_response;
    use crate::error::{Error, Kind};

    #[test]
    fn every_part_has_its_letter() {
        let error = Error::new(Kind::UndefinedTable, "relation \"t\" does not exist").hint("Create it.").at(15);
        let fields = error_response(&error, false).fields;
        let letters = fields.iter().map(|(letter, _)| char::from(*letter)).collect::<String>();
        assert_eq!(letters, "SVCMHP");
        assert_eq!(fields[2].1, "42P01");
        assert_eq!(fields[5].1, "15");
    }
}
