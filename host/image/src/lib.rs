//! Image references, archives, content store and layers as EROFS.
