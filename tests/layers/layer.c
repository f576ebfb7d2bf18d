/* A program of nothing: it is the linking that is the test. */
int main(void);

int main(void)
{
    return 0;
}
