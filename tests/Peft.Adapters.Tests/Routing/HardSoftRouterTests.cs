using Peft.Adapters.Routing;
using Peft.Models;

namespace Peft.Adapters.Tests.Routing;

public sealed class HardSoftRouterTests : TensorTests
{
    [Fact]
    public void The_hard_stage_says_when_task_ids_are_missing()
    {
        var error = Assert.Throws<TaskIdException>(
            () => Hard().Route(torch.zeros([2, 3, 4]), ForwardPass.ForTraining()));

        Assert.Equal(
            "layers.0.q_proj: the batch has no task ids; expected one for each row, since router hard-soft in stage "
                + "hard routes by task. "
            + "Give each data source a task, or write stage: soft.",
            error.Message);
    }

    [Theory]
    [InlineData(3)]
    [InlineData(-1)]
    public void The_hard_stage_refuses_a_task_without_an_expert(long task)
    {
        var pass = ForwardPass.ForTraining(taskIds: torch.tensor(new[] { 0, task }, [2]));

        var error = Assert.Throws<TaskIdException>(() => Hard().Route(torch.zeros([2, 3, 4]), pass));

        Assert.Equal(
            $"layers.0.q_proj: task id {task}; expected 0 to 2, one expert for each task. Raise adapter.experts.count "
                + $"(now 3), or take the "
            + "task out of the data.",
            error.Message);
    }

    [Fact]
    public void Packed_rows_carry_a_task_for_each_token()
    {
        var tasks = torch.tensor(new long[] { 0, 0, 1, 2, 2, 2 }, [2, 3]);

        var gates = Hard().Route(torch.zeros([2, 3, 4]), ForwardPass.ForTraining(taskIds: tasks)).Gates;

        Assert.True(gates.argmax(-1).SameAs(tasks.reshape(-1)));
    }

    [Fact]
    public void Task_ids_that_do_not_fit_the_tokens_are_refused()
    {
        var pass = ForwardPass.ForTraining(taskIds: torch.tensor(new long[] { 0, 1, 2, 0 }, [4]));

        Assert.Contains(
            "4 task ids for 6 tokens",
            Assert.Throws<TaskIdException>(() => Hard().Route(torch.zeros([2, 3, 4]), pass)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void The_router_does_not_learn_in_the_hard_stage()
    {
        Assert.False(Hard().parameters().Single().requires_grad);
    }

    [Fact]
    public void Equal_probabilities_choose_the_lower_index()
    {
        var ties = torch.full([2, 5], 0.2);

        Assert.Equal(
            [0f, 1f, 0f, 1f], Selection.TopIndices(ties, 2).to(torch.float32).contiguous().data<float>().ToArray());
    }

    private static HardSoftRouter Hard() =>
        new(new HardSoftRouterOptions { Stage = "hard" }, new RouterContext("layers.0.q_proj", 4, 3, 2, 1));
}
