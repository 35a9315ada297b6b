//! `identity.v1.UserService`: one module for each method, and one for each matter that methods share.

mod batch_get_users;
mod block_user;
pub mod calls;
mod concurrency;
mod create_user;
mod deactivate_user;
mod delete_user;
mod etags;
pub mod export_user;
mod get_user;
pub mod import_users;
mod imported_passwords;
mod input;
mod limits;
mod list_users;
mod login_names;
mod lookup_user;
mod page_tokens;
mod passwords;
mod request_ids;
mod update_user;
pub mod watch_users;

use crate::support::Behaviour;

pub fn tests() -> Vec<Behaviour> {
    [
        batch_get_users::tests(),
        block_user::tests(),
        concurrency::tests(),
        create_user::tests(),
        deactivate_user::tests(),
        delete_user::tests(),
        etags::tests(),
        get_user::tests(),
        input::tests(),
        limits::tests(),
        list_users::tests(),
        login_names::tests(),
        export_user::tests(),
        import_users::tests(),
        imported_passwords::tests(),
        lookup_user::tests(),
        page_tokens::tests(),
        passwords::tests(),
        request_ids::tests(),
        update_user::tests(),
        watch_users::tests(),
    ]
    .concat()
}
