//! The page of a list that options ask for. Entities are given one by one, so that a list need not be in memory as a whole.

use serde_json::Value;

use super::entity_set::EntitySet;
use super::expression::Expression;
use super::{ListPage, QueryOptions, cannot_expand, unknown_property};
use performer_core::model::Refusal;

/// A page in the making.
#[derive(Debug)]
pub struct Paging<'a> {
    options: &'a QueryOptions,
    set: &'a EntitySet,
    filter: Option<Expression>,
    top: usize,
    /// How many entities fulfilled the filter.
    found: usize,
    kept: Vec<Value>,
}

impl<'a> Paging<'a> {
    /// The page of a list of entities of a set. A page has at most `limit` entities.
    ///
    /// # Errors
    ///
    /// Code 1000 for a property that the set does not have, or that is compared with what it cannot be; also where there
    /// is no entity.
    pub fn new(options: &'a QueryOptions, set: &'a EntitySet, limit: usize) -> Result<Self, Refusal> {
        let top = options.page_size(limit)?;
        options.order.iter().try_for_each(|order| set.check_order(&order.property))?;
        // Properties of our own, which not every entity has, are looked for in each.
        let is_known = |name: &&String| *name == "*" || name.starts_with("Performer") || set.has(name);
        if let Some(unknown) = options.select.iter().find(|name| !is_known(name)) {
            return Err(unknown_property(unknown));
        }
        if let Some(unknown) = options.expand.iter().find(|name| !set.can_expand(name)) {
            return Err(cannot_expand(unknown));
        }
        let filter = options.filter.clone().map(|filter| set.type_checked(filter)).transpose()?;
        let filter = filter.map(Expression::with_folded_names);
        Ok(Self { options, set, filter, top, found: 0, kept: Vec::new() })
    }

    /// The filter as it is asked of the entities.
    pub fn filter(&self) -> Option<&Expression> {
        self.filter.as_ref()
    }

    /// Whether every entity has to be looked at, because they are sorted or counted.
    pub fn needs_all(&self) -> bool {
        !self.options.order.is_empty() || self.options.count
    }

    /// Whether no further entity can change the page.
    pub fn is_complete(&self) -> bool {
        !self.needs_all() && self.found >= self.end()
    }

    /// How many entities are in memory.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// How many entities there are up to the end of the page.
    fn end(&self) -> usize {
        self.options.skip.saturating_add(self.top)
    }

    /// The next entity of the list.
    ///
    /// # Errors
    ///
    /// Code 1000 for a property of the filter that it does not have.
    pub fn add(&mut self, entity: Value) -> Result<(), Refusal> {
        if let Some(filter) = &self.filter
            && !filter.holds(&entity)?
        {
            return Ok(());
        }
        self.found += 1;
        if !self.options.order.is_empty() {
            self.kept.push(entity);
            // Sorted once for as many as are needed; with a stable sort that finds the same as to sort them all.
            if self.kept.len() >= self.end().saturating_mul(2).max(1) {
                self.sort();
            }
        } else if (self.options.skip + 1..=self.end()).contains(&self.found) {
            self.kept.push(entity);
        }
        Ok(())
    }

    /// Sorts what is kept, and keeps what can still be in the page.
    fn sort(&mut self) {
        let Self { options, set, .. } = *self;
        self.kept.sort_by(|a, b| options.compare(set, a, b));
        self.kept.truncate(self.end());
    }

    /// The page, when all entities were given or it is complete.
    ///
    /// # Errors
    ///
    /// Code 1000 for a property in `$select` that an entity does not have.
    pub fn finish(mut self) -> Result<ListPage, Refusal> {
        let mut left_out = 0;
        if !self.options.order.is_empty() {
            self.sort();
            left_out = self.options.skip;
        }
        let page = std::mem::take(&mut self.kept).into_iter().skip(left_out);
        let page: Result<Vec<Value>, Refusal> = page.map(|entity| self.options.selected(entity)).collect();
        Ok((page?, self.options.count.then_some(self.found as u64)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::entity_set::ROLES;
    use super::*;

    /// The ids of a page of 100 roles, how many were kept at the most, and how many were looked at.
    fn page(query: &[(&str, &str)]) -> (Vec<i64>, Option<u64>, usize, usize) {
        let options = QueryOptions::read(query.iter().copied()).unwrap();
        let mut paging = Paging::new(&options, &ROLES, 10).unwrap();
        let (mut most, mut looked_at) = (0, 0);
        for n in 0..100 {
            if paging.is_complete() {
                break;
            }
            paging.add(json!({"Id": n, "Name": format!("r{}", n % 7)})).unwrap();
            (most, looked_at) = (most.max(paging.kept()), looked_at + 1);
        }
        let (page, count) = paging.finish().unwrap();
        (page.iter().map(|role| role["Id"].as_i64().unwrap()).collect(), count, most, looked_at)
    }

    #[test]
    fn no_more_is_looked_at_than_the_page_needs() {
        assert_eq!(page(&[("$top", "2"), ("$skip", "3")]), (vec![3, 4], None, 2, 5));
        assert_eq!(page(&[("$filter", "Name eq 'R3'"), ("$top", "2")]), (vec![3, 10], None, 2, 11));
        assert_eq!(page(&[("$top", "0")]), (vec![], None, 0, 0));
        assert_eq!(page(&[("$top", "0"), ("$count", "true")]), (vec![], Some(100), 0, 100));
        assert_eq!(page(&[("$skip", "98"), ("$count", "true")]), (vec![98, 99], Some(100), 2, 100));
        assert_eq!(page(&[]).0.len(), 10, "the limit is the size of a page where none is asked for");
    }

    #[test]
    fn no_more_is_kept_than_the_page_needs() {
        let sorted = [("$orderby", "Name desc,Id desc"), ("$top", "2"), ("$skip", "1")];
        assert_eq!(page(&sorted), (vec![90, 83], None, 5, 100));
        let stable = [("$orderby", "Name"), ("$top", "3"), ("$count", "true"), ("$filter", "Id ge 1")];
        assert_eq!(page(&stable), (vec![7, 14, 21], Some(99), 5, 100));
        assert_eq!(page(&[("$orderby", "Name"), ("$top", "0")]).0, Vec::<i64>::new());
    }
}
