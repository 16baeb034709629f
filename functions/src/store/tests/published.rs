//! Versions, aliases, labels and facets.

use super::*;
use crate::published::{Alias, Facet, Labels, PublishError, Shift};
use crate::store::PublishedError;

fn alias(version: u64) -> Alias {
    Alias {
        version: Some(version),
        shifted: None,
        description: String::new(),
        change: 1,
    }
}

fn refused<T: std::fmt::Debug>(result: Result<T, PublishedError>) -> PublishError {
    match result.unwrap_err() {
        PublishedError::Refused(refused) => refused,
        PublishedError::Store(error) => panic!("{error}"),
    }
}

#[test]
fn a_version_stays_what_it_was_and_everything_goes_with_its_function() {
    unprivileged(|dir| {
        let store = Store::open(dir).unwrap();
        let name: FunctionName = "hello".parse().unwrap();
        assert!(matches!(store.publish(&name, ""), Err(StoreError::NoFunction { .. })));
        let first = deploy(&store, "hello", "1");
        let one = store.publish(&name, "the first").unwrap();
        assert_eq!((one.number, one.revision.number), (1, first.number));
        assert_eq!(
            store.publish(&name, "again").unwrap(),
            one,
            "an unchanged function has no second version"
        );
        let labels = Labels {
            runtime: "python3.12".into(),
            ..Labels::default()
        };
        let second = store
            .deploy_labelled(&name, add(&store, "2"), first.settings.clone(), Some(&labels))
            .unwrap();
        assert_eq!(store.labels(&name, second.number).unwrap(), Some(labels));
        assert_eq!(store.labels(&name, first.number).unwrap(), None);
        assert_eq!(store.publish(&name, "").unwrap().number, 2);

        assert_eq!(
            refused(store.add_alias(&name, "prod", &alias(3))),
            PublishError::NoVersion { version: 3 }
        );
        store.add_alias(&name, "prod", &alias(1)).unwrap();
        let exists = PublishError::AliasExists { alias: "prod".into() };
        assert_eq!(refused(store.add_alias(&name, "prod", &alias(1))), exists);
        let none = PublishError::NoAlias { alias: "test".into() };
        assert_eq!(refused(store.change_alias(&name, "test", &alias(1))), none);
        let shifted = Alias {
            shifted: Some(Shift {
                version: 2,
                weight: 0.25,
            }),
            ..alias(1)
        };
        store.change_alias(&name, "prod", &shifted).unwrap();
        for version in [1, 2] {
            let in_use = PublishError::InUse {
                version,
                alias: "prod".into(),
            };
            assert_eq!(refused(store.unpublish(&name, version)), in_use);
        }
        store
            .set_facet(&name, Facet::Tags, "prod", Some(&serde_json::json!({"a": 1})))
            .unwrap();
        drop(store);

        let store = Store::open(dir).unwrap();
        let published = store.published(&name).unwrap();
        assert_eq!(published.versions[&1].revision.bundle, first.bundle);
        assert_eq!(published.aliases["prod"], shifted);
        assert_eq!(store.all_published().unwrap(), [(name.clone(), published)]);
        let tags: Option<serde_json::Value> = store.facet(&name, Facet::Tags, "prod").unwrap();
        assert_eq!(tags.unwrap()["a"], 1);
        let whole = serde_json::json!({"b": 2});
        assert!(!store.set_facet(&name, Facet::Concurrency, "", Some(&whole)).unwrap());
        let all: Vec<(FunctionName, serde_json::Value)> = store.all_of_facet(Facet::Concurrency).unwrap();
        assert_eq!(all, [(name.clone(), whole)]);
        assert!(store.set_facet(&name, Facet::Concurrency, "", None).unwrap());
        assert!(store.remove_alias(&name, "prod").unwrap());
        assert!(!store.remove_alias(&name, "prod").unwrap());
        let tags: Option<serde_json::Value> = store.facet(&name, Facet::Tags, "prod").unwrap();
        assert_eq!(tags, None, "what belonged to the alias went with it");
        store.unpublish(&name, 1).unwrap();
        assert_eq!(
            refused(store.unpublish(&name, 1)),
            PublishError::NoVersion { version: 1 }
        );

        store.remove(&name).unwrap();
        assert!(store.all_published().unwrap().is_empty());
        assert!(matches!(
            store.set_facet(&name, Facet::Tags, "", None),
            Err(StoreError::NoFunction { .. })
        ));
        deploy(&store, "hello", "3");
        assert_eq!(
            store.publish(&name, "").unwrap().number,
            1,
            "a new function counts anew"
        );
    });
}
