//! What is owed to all clients together, what they share counted once.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes that are owed to somebody. Whoever owes some has a handle.
///
/// Shared bytes are added when they are sealed, and subtracted by the last client that lets go of
/// them: that one finds that nobody else holds them. So while there is an account, the hub holds no
/// reference of its own to sealed batches, and does not use their buffers again.
#[derive(Clone, Debug, Default)]
pub(super) struct Account(Rc<Cell<usize>>);

impl Account {
    pub(super) fn total(&self) -> usize {
        self.0.get()
    }

    pub(super) fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }

    fn subtract(&self, bytes: usize) {
        let rest = self.0.get().checked_sub(bytes);
        self.0.set(rest.expect("what is subtracted was added"));
    }

    /// Adds what is held by others than the caller.
    pub(super) fn add_if_held(&self, batch: &Rc<Vec<u8>>) {
        if Rc::strong_count(batch) > 1 {
            self.add(batch.len());
        }
    }
}

/// One client's part of the account.
#[derive(Debug)]
pub(super) struct Debt {
    account: Account,
    /// What no other client owes.
    own: usize,
}

impl Debt {
    pub(super) fn new(account: &Account, own: usize) -> Self {
        account.add(own);
        Self {
            account: account.clone(),
            own,
        }
    }

    #[cold]
    pub(super) fn add(&mut self, own: usize) {
        self.own += own;
        self.account.add(own);
    }

    pub(super) fn subtract(&mut self, own: usize) {
        self.own -= own;
        self.account.subtract(own);
    }

    /// A batch is shared from now on that nobody has added.
    pub(super) fn share(&self, len: usize) {
        self.account.add(len);
    }

    /// Lets go of a part of a batch.
    pub(super) fn release(&self, batch: &Rc<Vec<u8>>) {
        if Rc::strong_count(batch) == 1 {
            self.account.subtract(batch.len());
        }
    }
}

impl Drop for Debt {
    fn drop(&mut self) {
        self.subtract(self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_counts_once_and_until_the_last_lets_go() {
        let account = Account::default();
        let batch = Rc::new(vec![0; 100]);
        account.add_if_held(&batch);
        assert_eq!(account.total(), 0, "nobody has taken it");
        let (first, second) = (Rc::clone(&batch), Rc::clone(&batch));
        account.add_if_held(&batch);
        drop(batch);
        let mut debt = Debt::new(&account, 7);
        assert_eq!(account.total(), 107);
        debt.release(&first);
        drop(first);
        assert_eq!(account.total(), 107);
        debt.subtract(3);
        debt.release(&second);
        drop(second);
        assert_eq!(account.total(), 4);
        drop(debt);
        assert_eq!(account.total(), 0);
    }
}
