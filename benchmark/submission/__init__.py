"""A run made public: what its folder holds, how it is written, read, checked and scored again."""
