/* A shared object that is no module. */
extern int no_symbol_is_here;
__attribute__((visibility("default"))) int no_symbol_is_here = 1;
